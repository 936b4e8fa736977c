"""What a person looks at: pictures, curves, the page and the film along a spiral."""
