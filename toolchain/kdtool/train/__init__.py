"""Training of teacher, student and baseline: each is a stage that ends with weights and a manifest."""
