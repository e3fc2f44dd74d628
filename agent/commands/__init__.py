"""What a person says to a bag from a terminal; imported only when said."""
