"""What a study shows: its cases, their order, how they are stored, and the plan."""
