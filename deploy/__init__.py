"""The grapevine command and the launcher of local clusters."""
