"""What the package promises about itself before anything is computed."""

import subprocess
import sys

import pytest

import facekd


def test_public_names_load_on_first_use():
    code = (
        "import sys, facekd\n"
        "assert 'torch' not in sys.modules\n"
        "assert facekd.FacekdError.__name__ == 'FacekdError' and 'torch' not in sys.modules\n"
        "assert callable(facekd.load_model) and 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_no_other():
    for name in facekd.__all__:
        assert getattr(facekd, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        facekd.nothing  # noqa: B018


def test_file_formats_and_numbers_need_neither_torch_nor_pictures():
    code = (
        "import sys\n"
        "import facekd.eval, facekd.data_tools\n"
        "from facekd.data_tools import facerec, folder, labelmap, pairs, synthetic\n"
        "from facekd.eval import benchmarks, compare, verification\n"
        "from facekd import errors, files, fingerprint, preprocess, registry, yaml_reader\n"
        "sys.exit(str({'torch', 'matplotlib'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_reading_a_recipe_needs_no_torch():
    code = (
        "import sys\n"
        "from facekd.recipe_file import load_recipe, shipped_recipes\n"
        "assert 'real_small' in shipped_recipes()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
