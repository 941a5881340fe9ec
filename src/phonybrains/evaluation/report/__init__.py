"""The report of an evaluation, as blocks. What it draws, by the names that a part gives it in its findings:

quality       arrays  `map/MODALITY/{real,synthetic}` features (n, d), of at most a few hundred images a side
                      `spectrum/MODALITY/{frequency,real,real_low,real_high,synthetic}`, cycles per pixel and dB
              facts   `map`: {modality: {extractor, real: [file_name], synthetic: [file_name]}}
                      `telling`: {modality: [{file_name, probability}]}, what gives itself away most comes first
              scores  `prevalence`: group "attribute=value", value = synthetic share, null = real share with interval
memorisation  arrays  `similarity/MODALITY/{synthetic,held_out}` (n,)
              facts   `pairs`: [{modality, synthetic, training (file names), similarity, threshold, patient, flagged}],
                      the most suspicious first; `status`: "passed", "failed" or "undecided"; `sentence`: why
bias          scores  `composition`, `amplification`, … group "attribute=value"
utility       scores  `auc`, `delta_auc`, … group = arm

All parts: a fact `sentence` (one or two plain sentences) goes into the verdict. What is missing is not drawn.
"""
