"""Head phantoms with known ventricles, brain, age and lesions."""
