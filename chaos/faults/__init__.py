"""What is done to a cluster. Each fault refuses whatever it cannot prove to be its target."""
