"""``python -m data_fetch NAME``: fetch a data set from a shell."""

import argparse
import sys


def main(arguments=None):
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data_fetch",
        description="Fetch cutouts and their catalogue from an SDSS archive into a folder. The same command goes on "
        "with what a killed one left, and fetches nothing twice.",
        epilog="Example: python -m data_fetch sgq --archive practice --n 600 --out data/sgq --plan",
    )
    parser.add_argument("name", help="pretext (no labels), sg (stars, galaxies) or sgq (stars, galaxies, quasars)")
    parser.add_argument("--archive", default="practice", help="practice, sdss or the URL of a mirror (%(default)s)")
    parser.add_argument("--n", type=int, help="objects in all (as in the paper: 50,090 or 54,000)")
    parser.add_argument("--out", help="folder to fill (data/NAME)")
    parser.add_argument("--bands", default="ugriz", help="(%(default)s)")
    parser.add_argument("--size", type=int, default=32, help="pixels a side of a cutout (%(default)s)")
    parser.add_argument(
        "--mag-limits", type=float, nargs=2, metavar=("BRIGHT", "FAINT"), help="model magnitude in r (14 21.5)"
    )
    parser.add_argument("--release", type=int, default=17, help="SDSS data release (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other fields (%(default)s)")
    parser.add_argument(
        "--exclude", nargs="+", default=(), metavar="FOLDER", help="data sets whose objects must not be in this one"
    )
    parser.add_argument("--frames", help="where frames are kept (the folder `frames` beside --out)")
    parser.add_argument("--plan", action="store_true", help="say what it would cost, and fetch no frame")
    options = vars(parser.parse_args(arguments))

    # Only now, because importing astropy takes longer than printing the help.
    import data_fetch

    name, archive, release = (options.pop(key) for key in ("name", "archive", "release"))
    options["out"] = options["out"] or f"data/{name}"
    try:
        with data_fetch.open_archive(archive, release=release) as archive:
            if options.pop("plan"):
                print(data_fetch.plan(name, archive=archive, **options))
            else:
                print(data_fetch.fetch(name, archive=archive, **options))
    except (data_fetch.FetchError, data_fetch.ArchiveError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
