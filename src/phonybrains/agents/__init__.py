"""The command line as tools of agents, over the Model Context Protocol, within one folder."""
