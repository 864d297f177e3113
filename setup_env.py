"""Create .venv and install the course into it; say what to do when the machine is not ready.

Run by the Makefile, once, and again when pyproject.toml changes or the Python in .venv is gone. Standard library only,
and written for any Python 3, old ones too, because the first thing it may have to say is that this Python is too old.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

VENV = ".venv"
INSIDE = os.path.join(VENV, "bin", "python")
READY = os.path.join(VENV, "ready")  # holds the digest of the pyproject.toml that is installed
OLDEST = (3, 11)  # as requires-python in pyproject.toml
NEWEST = (3, 13)  # that the tests run on: of newer ones some packages may have no build yet
# The CUDA build of torch and its libraries take most of it, and only Linux has one.
GIGABYTES = {"first": 10 if sys.platform.startswith("linux") else 3, "again": 1}
CANDIDATES = [sys.executable] + ["python3.%d" % minor for minor in range(14, 10, -1)] + ["python3"]


def version_of(python):
    """Return (major, minor) of an interpreter, or None where there is no such interpreter."""
    try:
        text = subprocess.check_output([python, "-c", "import sys; print('%d %d' % sys.version_info[:2])"])
        return tuple(int(number) for number in text.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def choose_python(candidates):
    """Return the first interpreter that the course is tested on, else a newer one, or stop and say what was found."""
    found = [(python, version_of(python)) for python in candidates]
    found = [(python, version) for python, version in found if version is not None]
    usable = [(python, version) for python, version in found if version >= OLDEST]
    for python, version in usable:
        if version <= NEWEST:
            return python
    if usable:
        python, version = usable[0]
        print("Python %d.%d is newer than what the course is tested on, %d.%d to %d.%d:" % (version + OLDEST + NEWEST))
        print("if a package has no build for it yet, install one of these beside it and run this again.")
        return python
    said = "; ".join(sorted(set("%s is Python %d.%d" % ((python,) + version) for python, version in found)))
    stop(
        "Python %d.%d or newer is needed, and was not found (%s)." % (OLDEST + (said,)),
        "Install a newer Python beside the one you have (python.org, your package manager, or conda with",
        "environment.yml), and run the same command again: it looks for python3.11 to python3.14 by name.",
    )


def check_disk():
    """Stop with a sentence when the disk is too full for what is still to be installed."""
    installed = glob.glob(os.path.join(VENV, "lib", "python3*", "site-packages", "torch"))
    needed = GIGABYTES["again" if installed else "first"]
    free = shutil.disk_usage(VENV if os.path.exists(VENV) else ".").free / 1e9
    if free < needed:
        stop(
            "The installation needs about %d GB of disk in %s, and %.1f GB are free." % (needed, VENV, free),
            "Free some space, or make %s a link to a folder on a larger disk. Without an NVIDIA GPU 3 GB do:" % VENV,
            "make %s by hand, install the CPU build of torch and torchvision into it, and run this again." % VENV,
        )


def install(python):
    """Create the virtual environment and install the package; both can be interrupted and run again."""
    print("Creating %s with %s" % (VENV, python), flush=True)
    options = ["--clear"] if is_broken() else []
    if subprocess.call([python, "-m", "venv"] + options + [VENV]) != 0:
        stop(
            "%s could not create %s (its message is above)." % (python, VENV),
            "On Debian and Ubuntu the module for it is a package of its own: apt install python3-venv.",
        )
    print("Installing what the course needs: several GB, and pip is silent for minutes while it unpacks", flush=True)
    pip = [INSIDE, "-m", "pip"]
    if subprocess.call(pip + ["install", "--editable", ".[test]"]) != 0:
        explain_failure(pip)


def is_broken():
    """Return whether .venv is a virtual environment whose Python is gone, or too old: it has to be made anew."""
    version = version_of(INSIDE)
    return os.path.exists(os.path.join(VENV, "pyvenv.cfg")) and (version is None or version < OLDEST)


def digest():
    """Return what READY holds when all that pyproject.toml asks for is installed."""
    with open("pyproject.toml", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def is_installed():
    """Return whether nothing is to be done: a file that git wrote anew is newer, and the same."""
    if not os.path.exists(READY) or is_broken():
        return False
    with open(READY) as file:
        return file.read() == digest()


def explain_failure(pip):
    """Stop with the likeliest cause of a failed installation, found by looking."""
    again = "Nothing is lost: run the same command again to go on."
    if shutil.disk_usage(".").free < 5e8 or shutil.disk_usage(tempfile.gettempdir()).free < 5e8:
        stop("The disk is full: free some space (pip also needs some in %s)." % tempfile.gettempdir(), again)
    scratch = tempfile.mkdtemp()
    probe = ["download", "--quiet", "--no-deps", "--retries", "0", "--timeout", "15", "--dest", scratch, "wheel"]
    reachable = subprocess.call(pip + probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    shutil.rmtree(scratch, ignore_errors=True)
    if not reachable:
        stop(
            "The package index is out of reach.",
            "Check the network connection and the proxy, and which index pip uses: %s config list." % " ".join(pip),
            again,
        )
    stop("pip could not install the course: its last lines above say why.", again)


def stop(*lines):
    """Leave with the message, set apart from pip's own lines, and exit code 1."""
    sys.exit("\n" + "\n".join(lines))


def main():
    """Check the machine, then install."""
    try:
        if not is_installed():
            python = choose_python(CANDIDATES)
            check_disk()
            install(python)
        with open(READY, "w") as file:
            file.write(digest())
    except KeyboardInterrupt:
        stop("Interrupted. Run the same command again to go on.")


if __name__ == "__main__":
    main()
