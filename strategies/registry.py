"""The strategies that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

DISPOSAL = "strategies.disposal"

strategies = Registry(
    "strategy",
    [
        Row("naive", "fine-tuning on each experience in turn", "strategies.naive:Naive"),
        Row("joint", "the upper bound: retrained on all data seen so far", "strategies.joint:Joint"),
        Row("replay", "experience replay from a reservoir", "strategies.memory.replay:Replay"),
        Row("lwf", "Learning without Forgetting: distillation from the old network", "strategies.distillation.lwf:Lwf"),
        Row("ewc", "Elastic Weight Consolidation: a penalty weighted by the Fisher's diagonal", "strategies.penalties.ewc:Ewc"),
        Row("online-ewc", "EWC with one running Fisher", "strategies.penalties.ewc:OnlineEwc"),
        Row("si", "Synaptic Intelligence: importance from the path of learning", "strategies.penalties.si:Si"),
        Row("mas", "Memory Aware Synapses: importance from the sensitivity of the answers", "strategies.penalties.mas:Mas"),
        Row("kfac", "K-FAC: Kronecker-factored curvature of the merged network", "strategies.penalties.kfac:Kfac"),
        Row(
            "xkfac",
            "XK-FAC: K-FAC with the terms that batch norm creates between examples",
            "strategies.penalties.xkfac:Xkfac",
            label="reconstruction",
        ),
        Row("alasso", "ALASSO: asymmetric penalty, over-estimated where nothing was measured", "strategies.penalties.alasso:Alasso"),
        Row("rescl", "ResCL: residual combination of source and target, merged at the end", "strategies.distillation.rescl:ResCL"),
        Row(
            "hnet-cnet",
            "H-net/C-net: infers the task; its part of a network answers",
            "strategies.memory.hnet_cnet:HnetCnet",
            label="reconstruction",
        ),
        Row("maml", "MAML: an initialisation that adapts in a few gradient steps", "strategies.meta.maml:Maml"),
        Row("anil", "ANIL: MAML whose inner loop adapts the head alone", "strategies.meta.anil:Anil"),
        Row("l2f", "L2F: MAML from an initialisation attenuated by task and layer", "strategies.meta.l2f:L2F"),
        Row("cxgrad", "CxGrad: MAML with gradients scaled by a context", "strategies.meta.cxgrad:CxGrad"),
        Row("tapl", "TAPL: MAML that adapts on pseudo-labelled queries too", "strategies.meta.tapl:Tapl", label="reference design"),
        Row("avalanche:LEARNER", "any strategy of Avalanche (avalanche:EWC)", "strategies.bridges.avalanche:AvalancheStrategy"),
        Row("learn2learn:LEARNER", "learn2learn's MAML, MetaSGD or ANIL (learn2learn:MAML)", "strategies.bridges.learn2learn:Learn2Learn"),
        Row("A+B", "methods of MAML's inner loop combined, for instance l2f+cxgrad+tapl", "strategies.meta.combination:Combination"),
        Row("protonet", "ProtoNet: nearest class mean in a learned embedding", "strategies.meta.protonet:ProtoNet"),
        Row("protonet-soft", "ProtoNet refined by soft k-means over unlabelled images", "strategies.meta.protonet_soft:ProtoNetSoft"),
        Row("protonet-cluster", "the same beside a cluster of distractors", "strategies.meta.protonet_cluster:ProtoNetCluster"),
        Row("protonet-masked", "the same with masks against distractors", "strategies.meta.protonet_masked:ProtoNetMasked"),
        Row("label-propagation", "labels spread over a graph of support and queries", "strategies.meta.label_propagation:LabelPropagation"),
        Row("gc", "Gradient Collision: the source's gradients shall point apart", f"{DISPOSAL}.gc:Gc", label="reconstruction"),
        Row("none", "no disposal: the transferred network as it is", f"{DISPOSAL}.references:NoDisposal"),
        Row("head-deletion", "the transferred network without the source's head", f"{DISPOSAL}.references:HeadDeletion"),
        Row("keep-only", "disposal's steps with the retaining loss alone", f"{DISPOSAL}.references:KeepOnly"),
        Row("target-only", "never saw the source: the floor of every disposal", f"{DISPOSAL}.references:TargetOnly"),
        Row("negative-gradient", "disposal by raising the source's loss, clamped", f"{DISPOSAL}.outputs:NegativeGradient"),
        Row("random-labels", "disposal by fitting random labels on the source", f"{DISPOSAL}.outputs:RandomLabels"),
        Row("uniform-labels", "disposal by uniform answers on the source", f"{DISPOSAL}.outputs:UniformLabels"),
        Row("bad-teacher", "disposal by distilling an untrained network on the source", f"{DISPOSAL}.outputs:BadTeacher"),
        Row("scrub", "after SCRUB: away from the teacher on the source, then back", f"{DISPOSAL}.scrub:Scrub", label="reconstruction"),
        Row("sophon", "after SOPHON: spoils simulated fine-tuning", f"{DISPOSAL}.sophon:Sophon", label="reconstruction"),
        Row("weight-distance", "disposal by moving away from the transferred weights", f"{DISPOSAL}.weight_space:WeightDistance"),
        Row("connectivity", "disposal by raising the source's loss on the line back", f"{DISPOSAL}.weight_space:Connectivity"),
        Row("noise-distil", "after UNDO: partly renewed, then distilled", f"{DISPOSAL}.noise_distil:NoiseDistil", label="reconstruction"),
        Row("gc-noise-distil", "our own combination of gc and noise-distil", f"{DISPOSAL}.noise_distil:GcNoiseDistil"),
    ],
)
