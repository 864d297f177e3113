"""`python -m data_fetch.practice [--port P] [--seed S]`: serve the practice sky until Ctrl-C."""

import argparse
import threading

from .server import PracticeArchive


def main():
    parser = argparse.ArgumentParser(prog="python -m data_fetch.practice", description="Serve the practice sky.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another universe (default: 0)")
    arguments = parser.parse_args()
    with PracticeArchive(seed=arguments.seed, port=arguments.port) as archive:
        print(f"practice archive at {archive.url} (frames under {archive.url}/sas); Ctrl-C stops it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
