"""What a scan can find wrong with photographs, and how it is reported."""
