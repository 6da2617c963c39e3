"""What a build tells its user beyond docker's words: likely typos, the two ways out. Pure.

One table of known names; every text here has a test.
"""

import posixpath
import re
from collections.abc import Iterable

from ..dockerfile.spelling import distance, nearest
from ..errors import InvalidInput

_READ_BY = {
    "PYTHON": ("Python", (
        "PYTHONASYNCIODEBUG PYTHONBREAKPOINT PYTHONCASEOK PYTHONCOERCECLOCALE PYTHONDEBUG "
        "PYTHONDEVMODE PYTHONDONTWRITEBYTECODE PYTHONDUMPREFS PYTHONEXECUTABLE PYTHONFAULTHANDLER "
        "PYTHONHASHSEED PYTHONHOME PYTHONINSPECT PYTHONINTMAXSTRDIGITS PYTHONIOENCODING "
        "PYTHONLEGACYWINDOWSFSENCODING PYTHONMALLOC PYTHONMALLOCSTATS PYTHONNODEBUGRANGES "
        "PYTHONNOUSERSITE PYTHONOPTIMIZE PYTHONPATH PYTHONPERFSUPPORT PYTHONPLATLIBDIR "
        "PYTHONPROFILEIMPORTTIME PYTHONPYCACHEPREFIX PYTHONSAFEPATH PYTHONSTARTUP "
        "PYTHONTRACEMALLOC PYTHONTZPATH PYTHONUNBUFFERED PYTHONUSERBASE PYTHONUTF8 "
        "PYTHONVERBOSE PYTHONWARNDEFAULTENCODING PYTHONWARNINGS PYTHON_COLORS PYTHON_CPU_COUNT "
        "PYTHON_FROZEN_MODULES PYTHON_GIL PYTHON_HISTORY PYTHON_PERF_JIT_SUPPORT PYTHON_VERSION "
        "PYTHON_PIP_VERSION PYTHON_SHA256 PYTHON_SETUPTOOLS_VERSION PYTHON_GET_PIP_URL "
        "PYTHON_GET_PIP_SHA256 PYTHON_JIT"
    ).split()),
    "PIP_": ("pip", (
        "PIP_BREAK_SYSTEM_PACKAGES PIP_CACHE_DIR PIP_CERT PIP_CLIENT_CERT PIP_CONFIG_FILE "
        "PIP_CONSTRAINT PIP_DEFAULT_TIMEOUT PIP_DISABLE_PIP_VERSION_CHECK PIP_EXTRA_INDEX_URL "
        "PIP_FIND_LINKS PIP_INDEX_URL PIP_NO_BINARY PIP_NO_BUILD_ISOLATION PIP_NO_CACHE_DIR "
        "PIP_NO_COLOR PIP_NO_COMPILE PIP_NO_DEPS PIP_NO_INDEX PIP_NO_INPUT PIP_NO_PYTHON_VERSION_"
        "WARNING PIP_NO_WARN_SCRIPT_LOCATION PIP_ONLY_BINARY PIP_PRE PIP_PREFER_BINARY "
        "PIP_PROGRESS_BAR PIP_PROXY PIP_QUIET PIP_REQUIRE_HASHES PIP_REQUIRE_VIRTUALENV "
        "PIP_REQUIREMENT PIP_RETRIES PIP_ROOT_USER_ACTION PIP_SRC PIP_TARGET PIP_TIMEOUT "
        "PIP_TRUSTED_HOST PIP_UPGRADE PIP_USE_PEP517 PIP_USER PIP_VERBOSE PIP_VERSION"
    ).split()),
    "DJANGO_": ("Django", (
        "DJANGO_SETTINGS_MODULE DJANGO_CONFIGURATION DJANGO_COLORS DJANGO_AUTO_COMPLETE "
        "DJANGO_RUNSERVER_HIDE_WARNING DJANGO_SUPERUSER_PASSWORD DJANGO_SUPERUSER_USERNAME "
        "DJANGO_SUPERUSER_EMAIL DJANGO_WATCHMAN_TIMEOUT DJANGO_ALLOW_ASYNC_UNSAFE "
        "DJANGO_TEST_PROCESSES"
    ).split()),
    "UV_": ("uv", (
        "UV_BREAK_SYSTEM_PACKAGES UV_BUILD_CONSTRAINT UV_CACHE_DIR UV_COMPILE_BYTECODE "
        "UV_CONCURRENT_BUILDS UV_CONCURRENT_DOWNLOADS UV_CONCURRENT_INSTALLS UV_CONFIG_FILE "
        "UV_CONSTRAINT UV_DEFAULT_INDEX UV_ENV_FILE UV_EXCLUDE_NEWER UV_EXTRA_INDEX_URL "
        "UV_FIND_LINKS UV_FROZEN UV_HTTP_TIMEOUT UV_INDEX UV_INDEX_STRATEGY UV_INDEX_URL "
        "UV_INSECURE_HOST UV_KEYRING_PROVIDER UV_LINK_MODE UV_LOCKED UV_NATIVE_TLS UV_NO_BINARY "
        "UV_NO_BUILD_ISOLATION UV_NO_CACHE UV_NO_CONFIG UV_NO_DEV UV_NO_PROGRESS UV_NO_SYNC "
        "UV_OFFLINE UV_OVERRIDE UV_PRERELEASE UV_PROJECT UV_PROJECT_ENVIRONMENT UV_PYTHON "
        "UV_PYTHON_DOWNLOADS UV_PYTHON_INSTALL_DIR UV_PYTHON_PREFERENCE UV_REQUIRE_HASHES "
        "UV_RESOLUTION UV_SYSTEM_PYTHON UV_TOOL_BIN_DIR UV_TOOL_DIR UV_VERSION UV_WORKING_DIR"
    ).split()),
}  # fmt: skip
_MAX_EDITS = 2
_PIP_MISSING = re.compile(
    r"No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._-]*)|"
    r"satisfies the requirement ([A-Za-z0-9][A-Za-z0-9._-]*)",
    re.ASCII,
)
_NO_NAMES = (  # glibc's, then musl's and busybox's, then apt's words
    "Temporary failure in name resolution", "bad address", "Temporary failure resolving",
)  # fmt: skip
_PACKAGES = (
    "requests django flask fastapi uvicorn gunicorn celery redis psycopg2 psycopg2-binary psycopg "
    "numpy pandas scipy matplotlib scikit-learn scikit-image pillow opencv-python pyyaml "
    "beautifulsoup4 python-dotenv python-dateutil sqlalchemy alembic pydantic pytest boto3 "
    "cryptography attrs click jinja2 markupsafe setuptools wheel aiohttp httpx starlette "
    "djangorestframework django-environ django-cors-headers whitenoise mysqlclient pymysql "
    "tensorflow torch torchvision transformers selenium scrapy lxml openpyxl tqdm rich typer "
    "urllib3 certifi virtualenv poetry tornado paramiko protobuf grpcio pymongo elasticsearch"
).split()
_IMPORT_NAMES = {
    "sklearn": "scikit-learn", "cv2": "opencv-python", "pil": "pillow", "yaml": "pyyaml",
    "bs4": "beautifulsoup4", "dotenv": "python-dotenv", "dateutil": "python-dateutil",
    "mysqldb": "mysqlclient", "skimage": "scikit-image", "rest_framework": "djangorestframework",
    "rest-framework": "djangorestframework", "corsheaders": "django-cors-headers",
    "environ": "django-environ", "jwt": "pyjwt",
}  # fmt: skip


def env_warnings(names: Iterable[str], line: int) -> list[str]:
    """A name that looks like one a Python tool reads, and is none."""
    found = []
    for name in names:
        for prefix, (tool, known) in _READ_BY.items():
            like = len(name) > 5 and distance(name[: len(prefix)], prefix, _MAX_EDITS) <= _MAX_EDITS
            if name in known or not like:
                continue
            guess = nearest(name, known, _MAX_EDITS)
            if guess:
                told = f"line {line}: ENV {name} is not read by {tool} – did you mean {guess}?"
                found.append(told)
    return found


def outside_context(keyword: str, source: str, normal: str, context: str) -> InvalidInput:
    """`COPY ../app/`: docker would clamp it to the context and may ship the wrong folder."""
    meant = posixpath.normpath(posixpath.join(context, normal))
    up = posixpath.normpath(posixpath.join(context, "/".join(_leading_dots(normal))))
    inside = posixpath.relpath(context, up)
    below = posixpath.relpath(meant, up)
    return InvalidInput(
        f"{keyword} {source}: {meant} is outside the build context {context}",
        hint=f"build from the wider folder: onggi build -f {inside}/Dockerfile {up} and write "
        f"{keyword} {below}; or name it: --build-context NAME={meant} and {keyword} --from=NAME .",
    )


def _leading_dots(normal: str) -> list[str]:
    parts = normal.split("/")
    return parts[: sum(part == ".." for part in parts)]


def failed_command_hint(output: str) -> str | None:
    """A hint from the last output of a failed RUN, for mistakes with one likely cause."""
    if any(text in output for text in _NO_NAMES):
        return (
            "no name could be resolved in the step: on a network that only reaches a mirror, lend "
            "the build its configuration, e.g. -v /etc/pip.conf:/etc/pip.conf:ro, or a proxy with "
            "--build-arg HTTPS_PROXY"
        )
    missing = _PIP_MISSING.findall(output)
    if not missing:
        return None
    wanted = (missing[-1][0] or missing[-1][1]).rstrip(".")
    name = wanted.lower()
    guess = _IMPORT_NAMES.get(name) or nearest(name, _PACKAGES)
    if not guess or guess == name:
        return None
    return f'pip found no "{wanted}" – did you mean "{guess}"? check the name first'


def near_paths(wanted: str, names: Iterable[str]) -> str:
    """A name in the same folder, for a source that is missing."""
    return nearest(posixpath.basename(wanted), names)
