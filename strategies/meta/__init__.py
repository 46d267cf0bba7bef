"""Meta-learning: learners of episodes, by gradients (MAML, ANIL, L2F, CxGrad, TAPL) and by distances (ProtoNet, label propagation)."""
