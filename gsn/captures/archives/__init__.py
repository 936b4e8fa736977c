"""The paper's data sets: where they are found, and how their archives come in safely."""
