"""`facekd-train`: train the stages of a recipe."""

import argparse
import sys
from collections.abc import Sequence

from facekd.cli._main import run

_EXAMPLES = """examples:
  facekd-train quickstart                      the shipped recipe of that name
  facekd-train my.yaml output=runs/second seed=1
  facekd-train my.yaml stages.student.optimizer.lr=0.05
  facekd-train my.yaml --check                 what it would do, checked; trains nothing
  facekd-train --list                          recipes, losses, terms, margins, backbones

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
    parser.add_argument("recipe", nargs="?", help="a YAML file, or the name of a shipped recipe")
    parser.add_argument("override", nargs="*", metavar="key.path=value", help="wins over the file")
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        metavar="NAME",
        help="only this stage and what it builds on; may be given again",
    )
    parser.add_argument(
        "--check", action="store_true", help="check the recipe and say what it does"
    )
    parser.add_argument("--list", action="store_true", help="list what there is to choose from")
    args = parser.parse_intermixed_args(argv)
    if args.recipe is None and not args.list:
        parser.error("name a recipe, or use --list")
    return run(lambda: _work(args))


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

        print(check(select_stages(recipe, args.stage) if args.stage else recipe))
        return 0
    from facekd.train.stages import run_recipe

    try:
        run_recipe(recipe, args.stage)
    except Interrupted as stopped:
        print(f"\n{stopped}")
        return 128 + stopped.signum
    return 0


if __name__ == "__main__":
    sys.exit(main())
