# Tells what is wrong with the environment of the interpreter that runs this, as JSON on one line.
#
# argv[1] is a JSON file: `asked`, what must be installed; and for an environment that was complete before, `installed` and `sealed`, what
# was in it then, and when that was. Only the standard library is needed, of Python 3.8 and later. Versions and conditions are compared
# where pip brings its `packaging` along, as it does in every environment that is made here.
import base64
import hashlib
import importlib.metadata as metadata
import json
import os
import re
import sys
import sysconfig
from urllib.parse import urlsplit
from urllib.request import url2pathname

try:
    from pip._vendor.packaging.requirements import Requirement
    from pip._vendor.packaging.specifiers import SpecifierSet
except ImportError:
    Requirement = SpecifierSet = None

# What an environment has of itself.
OWN = {"pip", "setuptools", "wheel", "distribute"}
PREFIX = os.path.realpath(sys.prefix)
problems = []


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def is_inside(path):
    real = os.path.normcase(os.path.realpath(path))
    return real == os.path.normcase(PREFIX) or real.startswith(os.path.normcase(PREFIX) + os.sep)


def local(url):
    parts = urlsplit(url)
    return os.path.normcase(os.path.realpath(url2pathname(parts.path))) if parts.scheme == "file" else None


def without_user(url):
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def read(text, extras):
    """Name, test of a version, and extras of a requirement; None where its condition is not met here, or cannot be judged."""
    if Requirement is None:
        name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", text)
        return (normal(name[1]), None, set()) if name and ";" not in text else None
    try:
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            return None
    except Exception:
        return None
    return normal(wanted.name), wanted.specifier, set(wanted.extras)


def found():
    """The packages, each where it would be imported from, and what tells where it came from."""
    packages = {}
    for package in metadata.distributions():
        name = (package.metadata or {}).get("Name")
        if not name or normal(name) in packages:
            continue
        origin = package.read_text("direct_url.json")
        packages[normal(name)] = (package, json.loads(origin) if origin else None)
    return packages


def prove_package(name, test, why):
    if name not in packages:
        problems.append(f"{why}, but {name} is not in the environment")
        return False
    version = packages[name][0].version
    if test is not None and not test.contains(version, prereleases=True):
        problems.append(f"{why}, but {name} {version} is in the environment")
    return True


def prove_closure(wanted):
    """Everything that packages need, with the extras that were asked for."""
    seen = set()
    while wanted:
        name, extras = wanted.pop()
        if name not in packages or (name, frozenset(extras)) in seen:
            continue
        seen.add((name, frozenset(extras)))
        for text in packages[name][0].requires or []:
            needed = read(text, {*extras, *map(normal, extras)})
            if needed and prove_package(needed[0], needed[1], f"{name} needs `{text}`"):
                wanted.append((needed[0], needed[2]))


def came_from(item, origin):
    if item["kind"] == "path":
        return local(origin["url"]) == os.path.normcase(os.path.realpath(item["path"]))
    if item["kind"] == "checkout":
        commit = origin.get("vcs_info", {}).get("commit_id", "")
        return commit.lower() == item["commit"].lower()
    return item["kind"] == "address" and without_user(origin["url"]) == without_user(item["url"])


def prove_origins(asked):
    """What does not come from an index comes from where the list says, and from there alone: else no key would tell its content."""
    items = [item for item in asked if item["kind"] in ("path", "checkout", "address")]
    came = set()
    for name, (package, origin) in packages.items():
        if origin is None:
            continue
        if origin.get("dir_info", {}).get("editable"):
            problems.append(f"{name} is editable: it leads to {without_user(origin['url'])}")
            continue
        known = [index for index, item in enumerate(items) if came_from(item, origin)]
        came.update(known)
        if not known:
            problems.append(f"{name} came from {without_user(origin['url'])}, which is not in the list; name it there, with a commit or a hash")
    for index, item in enumerate(items):
        if index not in came and not item["optional"]:
            problems.append(f"{item['where']} is asked for, but not in the environment")


def prove_place():
    """Nothing leads out of the environment."""
    for name, (package, _) in packages.items():
        place = str(package.locate_file(""))
        if not is_inside(place):
            problems.append(f"{name} is in {place}, outside of the environment")
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for file in os.listdir(folder) if os.path.isdir(folder) else []:
            if not file.endswith(".pth"):
                continue
            with open(os.path.join(folder, file), encoding="utf-8", errors="replace") as lines:
                for line in map(str.strip, lines):
                    path = os.path.join(folder, line)
                    if line and not line.startswith(("#", "import ", "import\t")) and os.path.exists(path) and not is_inside(path):
                        problems.append(f"{file} leads to {path}, outside of the environment")


def has_hash(path, hash):
    with open(path, "rb") as content:
        hashed = hashlib.new(hash.mode, content.read()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode() == hash.value.rstrip("=")


def prove_files(sealed):
    """The files of the packages are there; those that changed since `sealed` are still what was installed."""
    for name, (package, _) in packages.items():
        for file in package.files or []:
            path = str(file.locate())
            if path.endswith(".pyc"):
                continue
            try:
                stat = os.stat(path)
            except OSError:
                problems.append(f"{name} lacks its file {path}")
                break
            if os.path.islink(path) and not is_inside(path):
                problems.append(f"{name} has the link {path}, which leads out of the environment")
                break
            if sealed is None or (stat.st_mtime < sealed and file.size in (None, stat.st_size)):
                continue
            if file.hash is None or not has_hash(path, file.hash):
                problems.append(f"{name} has another file {path} than was installed")
                break


with open(sys.argv[1], encoding="utf-8") as file:
    given = json.load(file)
packages = found()
installed = {name: package.version for name, (package, _) in packages.items()}
if "sealed" in given:
    for name in sorted({*installed, *given["installed"]}):
        before, now = given["installed"].get(name), installed.get(name)
        if before != now and name not in OWN:
            problems.append(f"{name} is {now or 'missing'}, but was {before or 'not there'} when the environment was complete")
else:
    wanted = [(name, set()) for name in packages]
    for item in given["asked"]:
        if item["kind"] == "package":
            package = read(item["requirement"], set())
            if package and prove_package(package[0], package[1], f"{item['where']} is asked for"):
                wanted.append((package[0], package[2]))
        elif item["kind"] == "python" and SpecifierSet is not None:
            if not SpecifierSet(item["versions"]).contains(".".join(map(str, sys.version_info[:3])), prereleases=True):
                problems.append(f"{item['where']} needs Python {item['versions']}, and this is {sys.version.split()[0]}")
    prove_closure(wanted)
    prove_origins(given["asked"])
prove_place()
prove_files(given.get("sealed"))
print(json.dumps({"problems": problems, "installed": installed}))
