"""Who is in the cluster, who is alive, and who owns what. Imports nothing of ours."""
