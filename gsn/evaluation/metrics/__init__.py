"""How good a view is: pictures, feature maps and masks against the truth, and the means of it."""
