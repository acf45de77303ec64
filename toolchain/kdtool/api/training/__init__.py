"""What a caller's own training needs of torch: data sets, batches and criteria."""
