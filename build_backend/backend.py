"""A PEP 517 backend over setuptools: builds against the torch that is installed.

pip builds in an isolated environment, where torch is missing; listing it as a requirement would
fetch a second one, of another version and perhaps of 5 GB, and the binaries would not fit the
first. So this backend makes the torch of the environment around visible to the build, and asks for
the pinned default only where there is none. With --no-build-isolation it has nothing to do.

Two builds of the same files are the same bytes: what a build is dated with is SOURCE_DATE_EPOCH,
or the first date that a zip archive can hold, and nothing of who built it goes into an archive.

Run as a script, it prints what a build needs and the environment lacks, for the Makefile.
"""

from __future__ import annotations

import copy
import gzip
import importlib.metadata
import io
import os
import re
import site
import stat
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

DEFAULT_TORCH = "torch==2.13.0"
EPOCH = "315532800"  # 1980-01-01, in seconds since 1970
SETUPTOOLS_MAJOR = 77  # the first that reads a licence expression from pyproject.toml


def _surrounding_site_packages() -> list[str]:
    """The site-packages outside the build environment that hold torch.

    The interpreter's own scheme first: pip runs isolated builds with the interpreter of the
    environment it installs into. Then what that environment sees besides: the system's packages,
    where it was made so, or the user's. VIRTUAL_ENV serves front ends with an interpreter apart.
    """
    candidates = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    configuration = Path(sys.prefix, "pyvenv.cfg")
    if configuration.exists() and re.search(
        r"include-system-site-packages\s*=\s*true", configuration.read_text(), re.IGNORECASE
    ):
        base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
        candidates += [sysconfig.get_path(kind, vars=base) for kind in ("purelib", "platlib")]
    if sys.prefix == sys.base_prefix:
        candidates.append(site.getusersitepackages())
    if environment := os.environ.get("VIRTUAL_ENV"):
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        candidates.append(str(Path(environment, "lib", version, "site-packages")))
    return [path for path in dict.fromkeys(candidates) if Path(path, "torch").is_dir()]


for _path in _surrounding_site_packages():
    if _path not in sys.path:
        sys.path.append(_path)  # last, so that the build environment's own packages win


def _has(distribution: str, major: int = 0) -> bool:
    """Whether the distribution is to be imported here, in this major version or a newer one."""
    try:
        return int(importlib.metadata.version(distribution).split(".")[0]) >= major
    except importlib.metadata.PackageNotFoundError:
        return False


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    needed = {
        f"setuptools>={SETUPTOOLS_MAJOR}": _has("setuptools", SETUPTOOLS_MAJOR),
        DEFAULT_TORCH: _has("torch"),
        "ninja": _has("ninja"),
    }
    return [requirement for requirement, present in needed.items() if not present]


get_requires_for_build_editable = get_requires_for_build_wheel
get_requires_for_build_sdist = get_requires_for_build_wheel


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    import setuptools.build_meta

    os.environ.setdefault("SOURCE_DATE_EPOCH", EPOCH)
    name = setuptools.build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    _give_plain_modes(Path(wheel_directory, name))
    return str(name)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    import setuptools.build_meta

    name = str(setuptools.build_meta.build_sdist(sdist_directory, config_settings))
    _anonymize(Path(sdist_directory, name))
    return name


def _give_plain_modes(archive: Path) -> None:
    """Writes a wheel anew, without the umask of who built it: libraries 0755, all else 0644."""
    content = io.BytesIO(archive.read_bytes())
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(archive, "w") as new:
        for member in old.infolist():
            plain = zipfile.ZipInfo(member.filename, member.date_time)
            plain.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if member.filename.endswith(".so") else 0o644
            plain.external_attr = (stat.S_IFREG | mode) << 16
            new.writestr(plain, old.read(member))


def _anonymize(archive: Path) -> None:
    """Writes a source distribution anew: in order, without owners, with one date and two modes."""
    date = int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
    tar = io.BytesIO()
    with (
        tarfile.open(archive) as old,
        tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            plain = copy.copy(member)
            plain.uid = plain.gid = 0
            plain.uname = plain.gname = ""
            plain.mtime, plain.pax_headers = date, {}
            plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(plain, old.extractfile(member) if member.isfile() else None)
    archive.write_bytes(gzip.compress(tar.getvalue(), mtime=date))


def __getattr__(name: str) -> Any:
    """Every other hook is setuptools' own."""
    import setuptools.build_meta

    return getattr(setuptools.build_meta, name)


if __name__ == "__main__":
    print(*get_requires_for_build_wheel())
