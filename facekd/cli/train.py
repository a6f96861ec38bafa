"""`facekd-train`: train the stages of a recipe, or all the runs of a study."""

import argparse
import os
import sys
from collections.abc import Sequence

from facekd.cli._main import run

_EXAMPLES = """examples:
  facekd-train quickstart                      the shipped recipe of that name
  facekd-train my.yaml output=runs/second seed=1
  facekd-train my.yaml stages.student.optimizer.lr=0.05
  facekd-train my.yaml --check                 what it would do, checked; trains nothing
  facekd-train my.yaml stages.student.optimizer.lr=0.05 --allow-changed optimizer.lr
  facekd-train --list                          recipes, losses, terms, margins, backbones
  torchrun --nproc-per-node=8 -m facekd.cli.train my.yaml    on eight GPUs, the same recipe
  facekd-train --study grid.yaml --jobs 2      methods x seeds; one row of a table a run
  facekd-train --study grid.yaml --check       its runs, which are done, what is left
  facekd-train --study grid.yaml --table       its table and figures; trains nothing

A stage that is finished is not trained again; one that was stopped (Ctrl-C saves) goes on where
it was: give the same command again."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="facekd-train",
        description="Train the networks of a recipe, stage by stage.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "recipe", metavar="RECIPE", nargs="?", help="a YAML file, or the name of a shipped recipe"
    )
    parser.add_argument(
        "override", nargs="*", metavar="key.path=value", help="a setting that wins over the file's"
    )
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        metavar="NAME",
        help="only this stage and what it builds on; may be given again",
    )
    parser.add_argument(
        "--allow-changed",
        action="append",
        default=[],
        metavar="KEY",
        help="go on although this setting of a stage (optimizer.lr) differs from the checkpoint's; "
        "may be given again",
    )
    parser.add_argument(
        "--check", action="store_true", help="say what it would do, checked; train nothing"
    )
    parser.add_argument(
        "--list", action="store_true", help="list recipes, losses, margins, backbones"
    )
    _study_options(parser)
    args = parser.parse_intermixed_args(argv)
    if args.study:
        args.override = [*filter(None, [args.recipe]), *args.override]
        if args.stage:
            parser.error("--stage is a recipe's; a study's methods say what is trained")
        if args.allow_changed:
            parser.error("--allow-changed is a recipe's; a study trains other settings anew")
        return run(lambda: _study(args))
    if args.table or args.jobs != 1:
        parser.error("--table and --jobs are a study's; give --study FILE")
    if args.recipe is None and not args.list:
        parser.error("name a recipe, or use --list")
    return run(lambda: _work(args))


def _study_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("studies")
    group.add_argument("--study", metavar="FILE", help="run a study: methods x seeds over a recipe")
    group.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="so many runs at once (default: 1)"
    )
    group.add_argument(
        "--table", action="store_true", help="print and write its table and figures; train nothing"
    )
    group.add_argument("--sitting", help=argparse.SUPPRESS)  # of a process that --jobs started


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)


def _study(args: argparse.Namespace) -> int:
    os.environ.setdefault("TQDM_MININTERVAL", "30")  # its bars go into files
    if args.table:
        from facekd.study.table import tabulate

        print(tabulate(args.study, args.override))
        return 0
    from facekd.study.run import run_study, study_worker
    from facekd.train.distributed import refuse_processes
    from facekd.train.loop import Interrupted

    refuse_processes("a study trains each run in one process, and several runs at once by --jobs")
    try:
        if args.sitting:
            study_worker(args.study, args.override, args.jobs, args.sitting)
            return 0
        return run_study(args.study, args.override, args.jobs, args.check)
    except Interrupted as stopped:
        if not args.sitting:
            print(f"\n{stopped}")
        return 128 + stopped.signum


def _work(args: argparse.Namespace) -> int:
    if args.list:
        from facekd.train.check import list_everything

        print(list_everything())
        return 0
    from facekd.recipe import select_stages
    from facekd.recipe_file import load_recipe
    from facekd.train.loop import Interrupted

    recipe = load_recipe(args.recipe, args.override)
    if args.check:
        from facekd.train.check import check

        chosen = select_stages(recipe, args.stage) if args.stage else recipe
        print(check(chosen, args.allow_changed))
        return 0
    from facekd.train.stages import run_recipe

    try:
        run_recipe(recipe, args.stage, args.allow_changed)
    except Interrupted as stopped:
        if os.environ.get("RANK", "0") == "0":  # the others stopped at the same step
            print(f"\n{stopped}")
        return 128 + stopped.signum
    return 0


if __name__ == "__main__":
    sys.exit(main())
