import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import facekd.eval
heavy = {"torch", "matplotlib", "pandas", "sklearn", "scipy.stats"}
for module in sorted(m.name for m in pkgutil.iter_modules(facekd.eval.__path__)):
    if module != "embed":
        importlib.import_module(f"facekd.eval.{module}")
        brought = heavy & set(sys.modules)
        if brought:
            sys.exit(f"facekd.eval.{module} imports {brought}")
"""


def test_no_file_but_embed_imports_anything_heavy():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")
