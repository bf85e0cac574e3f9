"""`python -m har_tf`, see `har_tf.cli.app`."""

from har_tf.cli.app import main

if __name__ == "__main__":
    main()
