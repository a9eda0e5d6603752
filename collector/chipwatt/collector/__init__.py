"""The collector: takes batches, keeps the books, answers and exports."""
