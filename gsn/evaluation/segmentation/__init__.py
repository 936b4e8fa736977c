"""Finding an object in any feature map. Nothing here ever gets the true mask of a target view."""
