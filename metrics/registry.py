"""The metrics that there are, each with its definition. Reading this imports no torch.

R[i, j] is the accuracy on experience j after learning experience i (0..L), R0 the row before any learning.
"""

from __future__ import annotations

from scenarios.registry import Registry, Row

metrics = Registry(
    "metric",
    [
        Row("average_accuracy", "mean over j of R[L, j]: accuracy over all experiences at the end", "metrics.continual:average_accuracy"),
        Row(
            "average_incremental_accuracy",
            "mean over i of the accuracy on all test examples of experiences 0..i (Rebuffi 2017)",
            "metrics.continual:average_incremental_accuracy",
        ),
        Row(
            "average_accuracy_seen",
            "after each experience i, mean over j <= i of R[i, j]: a curve",
            "metrics.continual:average_accuracy_seen",
        ),
        Row(
            "accuracy_by_age",
            "mean over j of R[j + d, j]: accuracy d experiences after learning, a curve over d",
            "metrics.continual:accuracy_by_age",
        ),
        Row("forgetting", "max over j <= i < L of R[i, j], minus R[L, j], for each j < L (Chaudhry 2018)", "metrics.continual:forgetting"),
        Row("average_forgetting", "mean of forgetting over j < L", "metrics.continual:average_forgetting"),
        Row(
            "forgetting_diagonal",
            "R[j, j] - R[L, j] for each j < L: value just after learning minus final",
            "metrics.continual:forgetting_diagonal",
        ),
        Row(
            "average_forgetting_diagonal",
            "mean of forgetting_diagonal over j < L; backward_transfer with the opposite sign",
            "metrics.continual:average_forgetting_diagonal",
        ),
        Row("backward_transfer", "mean over j < L of R[L, j] - R[j, j] (Lopez-Paz & Ranzato 2017)", "metrics.continual:backward_transfer"),
        Row("forward_transfer", "mean over j > 0 of R[j-1, j] - R0[j] (Lopez-Paz & Ranzato 2017)", "metrics.continual:forward_transfer"),
        Row("learning_accuracy", "mean over j of R[j, j]: accuracy on each experience just learned", "metrics.continual:learning_accuracy"),
        Row("intransigence", "mean over j of joint[j, j] - R[j, j]: what joint training learns beyond", "metrics.continual:intransigence"),
        Row("accuracy", "share of right answers among the outputs in play, a fraction in [0, 1]", "metrics.accuracy:accuracy"),
        Row("confusion_matrix", "counts; row: the target, column: the answer", "metrics.accuracy:confusion_matrix"),
        Row("per_class_accuracy", "recall of each class: diagonal of the confusion over row sums", "metrics.accuracy:per_class_accuracy"),
        Row("few_shot_accuracy", "mean over >= 600 test episodes, +- 1.96 s / sqrt(n) over episodes", "metrics.fewshot:over_episodes"),
        Row("few_shot_accuracy_per_step", "few_shot_accuracy before adaptation and after each of its steps", "metrics.fewshot:per_step"),
        Row(
            "pooled_binomial_ci95",
            "1.96 sqrt(p (1 - p) / N) over all N queries: not an interval over episodes",
            "metrics.fewshot:pooled_binomial_ci95",
        ),
        Row("targeted_drop", "the attacked experience in the end: clean run minus attacked run", "metrics.robustness:targeted_drop"),
        Row("collateral_drop", "the same, mean over experiences neither attacked nor altered", "metrics.robustness:collateral_drop"),
        Row("plasticity_drop", "mean over altered n of R[n, n]: clean run minus attacked run", "metrics.robustness:plasticity_drop"),
        Row("detection_auc", "chance that an altered example scores above a clean one, ties half", "metrics.robustness:auc"),
        Row("pl_accuracy", "accuracy after retraining on a subset: best rate of the mean over subsets", "metrics.unlearning:pl_accuracy"),
        Row("leakage", "(PL - PL of a network that never saw it) / (PL before disposal - that)", "metrics.unlearning:leakage"),
        Row("relearn_steps", "retraining steps until 95 % of the ceiling's PL accuracy is reached", "metrics.unlearning:steps_to_reach"),
        Row("membership_auc", "chance that of two examples the one trained on has the smaller loss", "metrics.unlearning:membership_auc"),
        Row("linear_cka", "||Y^T X||^2 / (||X^T X|| ||Y^T Y||) of centred features (Kornblith 2019)", "metrics.features:linear_cka"),
        Row("linear_probe", "accuracy of a linear classifier fitted on frozen features with a fixed budget", "metrics.accuracy:accuracy"),
        Row("dead_unit_share", "share of features that are the same for every input", "metrics.features:dead_unit_share"),
        Row("effective_rank", "exponential of the entropy of the features' singular values", "metrics.features:effective_rank"),
        Row("peak_memory_bytes", "CPU: the process's largest resident set; GPU: most allocated", "metrics.resources:peak_memory_bytes"),
        Row("parameters", "how many numbers the network learns", "metrics.resources:parameter_count"),
        Row("state_bytes", "memory held by a strategy's state, shared tensors counted once", "metrics.resources:state_bytes"),
    ],
)
