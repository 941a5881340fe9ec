"""What a reader study's answers show: from the study and its answers to findings, without a file being touched."""
