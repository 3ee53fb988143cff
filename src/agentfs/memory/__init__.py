"""Search and recall: documents, passages, the index, and the passages that serve a question within a budget."""
