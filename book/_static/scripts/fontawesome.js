// The theme's own file of this name is 1.5 MB of icons, read by every page. The few that are used are in book.css.
