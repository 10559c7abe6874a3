"""The command ``ra-plugin``: one file for each subcommand, with its flags; heavy imports wait until it runs."""
