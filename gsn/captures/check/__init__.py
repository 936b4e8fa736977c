"""Whether the cameras of a capture fit its photographs, and which captures to use."""
