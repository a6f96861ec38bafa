"""The style sheet of report.html: a sober page for phones, desks, dark rooms and printers."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #16181d; --muted: #5b616b; --paper: #ffffff; --ground: #f6f6f4; --line: #d9dad6;
  --grid: #d9d9d9; --faint: #efefef; --rule: #ecece9; --link: #0a5ea8;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: var(--ink); --c4: #cc79a7; --c5: #e69f00;
  --c6: #56b4e9;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ink: #e9eaec; --muted: #a4a9b3; --paper: #1b1d22; --ground: #121317; --line: #363a42;
    --grid: #3a3e46; --faint: #282b31; --rule: #2a2d34; --link: #7cc0f5;
    --c0: #4ba8e8; --c1: #f08030; --c2: #26c294; --c4: #dd93ba; --c5: #f0b53c; --c6: #8fd0f5;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header, main { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; padding-bottom: .5rem; }
main { padding-bottom: 4rem; }
h1, h2, h3, p, dd, figcaption { overflow-wrap: anywhere; text-wrap: pretty; }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .5rem; }
h2 {
  font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 1rem; padding-top: .9rem;
  border-top: 2px solid var(--ink);
}
h3 { font-size: 1rem; line-height: 1.4; margin: 1.75rem 0 .6rem; }
p { margin: 0 0 .6rem; max-width: 46rem; }
section:first-child h2 { margin-top: 1.25rem; }
.lead { color: var(--muted); }
.scroll {
  overflow-x: auto; max-width: 100%; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px;
}
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table {
  border-collapse: collapse; width: 100%; font-size: .875rem; line-height: 1.4;
  font-variant-numeric: tabular-nums lining-nums;
}
th, td { padding: .42rem .7rem; text-align: left; white-space: nowrap; font-weight: 400; }
thead th {
  font-size: .8rem; font-weight: 600; color: var(--muted); border-bottom: 1px solid var(--ink);
  vertical-align: bottom;
}
tbody tr + tr > * { border-top: 1px solid var(--rule); }
tbody tr.new > * { border-top-color: var(--muted); }
tbody th + th { font-weight: 600; }
.n { text-align: right; }
.figures {
  display: grid; gap: 1.25rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr));
}
figure {
  margin: 0; padding: 1rem 1rem .9rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px;
}
figure svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { font-family: inherit !important; fill: var(--ink); }
.caption { color: var(--muted); font-size: .9rem; margin-bottom: 1rem; }
dl { margin: 0; max-width: 60rem; }
dl > div { padding: .55rem 0; border-top: 1px solid var(--line); }
dt { font-weight: 600; }
dd { margin: 0; }
@media (min-width: 48rem) {
  dl > div { display: grid; grid-template-columns: 12rem 1fr; gap: 1.25rem; }
}
@media (max-width: 30rem) {
  header, main { padding-left: .9rem; padding-right: .9rem; }
  header { padding-top: 1.5rem; }
  h1 { font-size: 1.5rem; }
  figure { padding: .6rem .4rem .5rem; }
  th, td { padding: .4rem .55rem; }
}
@media print {
  @page { size: A4; margin: 14mm 12mm; }
  :root {
    --ground: #fff; --ink: #000; --muted: #333; --line: #999; --grid: #ccc; --faint: #e6e6e6;
    --rule: #bbb;
  }
  body { font-size: 9.5pt; }
  header, main { max-width: none; padding: 0; }
  h2 { margin-top: 1.6rem; }
  h1, h2, h3, .caption { break-after: avoid; break-inside: avoid; }
  .scroll { overflow: visible; border: 0; border-radius: 0; }
  table { font-size: 7.2pt; }
  thead { display: table-header-group; }
  thead th { font-size: 7pt; }
  th, td { padding: 1.6pt 3pt; white-space: normal; overflow-wrap: anywhere; }
  .n, tbody th { white-space: nowrap; }
  tr, figure, dl > div { break-inside: avoid; }
  .figures { grid-template-columns: 1fr 1fr; gap: 4mm; }
  figure { border: 0; padding: 0; }
}
"""
