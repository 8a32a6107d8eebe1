"""What was handed in, as platforms and people name, pack and file it: from a download to whose file is whose."""
