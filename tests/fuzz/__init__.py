"""Files that are damaged or mean harm, in any number, and what happens when they are opened."""
