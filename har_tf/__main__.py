"""`python -m har_tf`, see `har_tf.cli.app`."""

import sys

try:
    from har_tf.cli.app import main
except KeyboardInterrupt:  # from here on `har_tf.command.run` sees to it
    sys.stderr.write("interrupted\n")
    sys.exit(130)

if __name__ == "__main__":
    main()
