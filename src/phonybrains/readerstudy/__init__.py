"""The reader study: specialists call each image real, phony or unclear, and what their answers are worth."""
