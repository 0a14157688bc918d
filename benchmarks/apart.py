"""Compiles apart.pyx in a temporary folder, with the flags of the package, and imports it."""

import importlib.util
import pathlib
import tempfile
from types import ModuleType

import edgemse

__all__ = ["compiled"]

FLAGS = ["-O3", "-g0", "-ffp-contract=off"]


def compiled() -> ModuleType:
    """The module. ImportError where there is no Cython, setuptools or C compiler."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.errors import BaseError

    package = pathlib.Path(edgemse.__file__).parent
    source = pathlib.Path(__file__).with_suffix(".pyx")
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / source.name  # the C file goes beside it
        copy.write_text(source.read_text())
        extension = Extension(
            "apart", [str(copy)], include_dirs=[str(package / "stats")], extra_compile_args=FLAGS
        )
        extensions = cythonize([extension], quiet=True, include_path=[str(package.parent)])
        build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        build.build_lib = build.build_temp = folder
        try:
            build.ensure_finalized()
            build.run()
        except BaseError as error:
            raise ImportError(f"{source.name} does not compile: {error}") from error
        path = build.get_ext_fullpath("apart")
        spec = importlib.util.spec_from_file_location("apart", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
