"""The memory of an agent over the Model Context Protocol."""
