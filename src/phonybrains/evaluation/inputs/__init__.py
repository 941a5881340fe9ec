"""What an evaluation looks at: the two sides, who they show, what they are said to show."""
