# Read by the `flask` command, so that `flask db upgrade` works as it stands in the README.
FLASK_APP=manage:app_for_commands
