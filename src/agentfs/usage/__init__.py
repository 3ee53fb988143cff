"""What stores are asked and hold, and what that costs: counts by day, prices, budgets, metrics (docs/usage.md)."""
