"""One file for each source of images, and what several sources share."""
