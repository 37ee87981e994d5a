"""What Lambent and its functions say of themselves."""
