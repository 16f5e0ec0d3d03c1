"""What a reader sees of two columns; one row each."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers"))

import wire


def main():
    connection = wire.Connection()
    for column in ("ssn", "email", "region"):
        [[value]] = connection.run(f"select {column} from customers order by id limit 1")
        wire.report(column, True, value)
    wire.finish()


if __name__ == "__main__":
    main()
