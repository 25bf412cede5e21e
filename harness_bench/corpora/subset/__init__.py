"""Lists of utterances by hours and seed: subsets, disjoint pieces, languages in given shares."""
