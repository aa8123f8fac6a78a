/* The recipe's common keys: names, defaults and meaning. `cvrun cfg` and `cvrun help` print from here. */
#include "run_settings.h"
#include <cvr/session.h>

#define SCHEMA(name_) const cvr_schema name_##_schema = {name_##_keys, sizeof name_##_keys / sizeof *name_##_keys}

static const cvr_attr_desc *const run_keys[] = {
    CVR_ATTR(STRING, "task", "classify", "what the network is for: `cvrun help tasks`"),
    CVR_ATTR(PATH, "project", "runs", "folder that run folders go to"),
    CVR_ATTR(STRING, "name", "", "name of the run folder; default: the recipe's"),
    CVR_ATTR(INT, "seed", "0", "decides everything that is random", CVR_ATTR_BETWEEN(0, 9007199254740992.0)),
    CVR_ATTR(BOOL, "deterministic", "yes",
             "no: kernels may be used that give other bits each time, where a plugin has such; then neither is a run "
             "repeated to the bit, nor one that goes on"),
    CVR_ATTR(STRING, "save_every", "1 epoch", "how often the checkpoint is written: `50 steps`, `5 min`, `1 epoch`"),
    CVR_ATTR(INT, "patience", "0", "stop after this many validations without a better metric; 0: never",
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "max_hours", "0", "stop after this time; 0: never", CVR_ATTR_BETWEEN(0, 1e6)),
    CVR_ATTR(STRING, "plugins", "",
             "plugins of CVR_PLUGIN_PATH that the run was made with; written by training, to name one that is missing "
             "later"),
};
SCHEMA(run);

static const cvr_attr_desc *const backend_keys[] = {
    CVR_ATTR(STRING, "name", "auto",
             "backend that computes, `cvrun help backends`; NAME/DEVICE: on that device; auto: the fastest that is "
             "there, measured where there are several"),
    CVR_ATTR(STRING, "device", "0",
             "device: its number from 0 up, its UUID, or its name or a part of that, as `cvrun plugins -v` lists them; "
             "it does not count where the command line names another backend than the recipe"),
    CVR_ATTR(CHOICE, "fallback", "warn", "what to do about nodes that the backend cannot run",
             .choices = "error|warn|allow"),
    CVR_ATTR(INT, "threads", "0", "threads that compute; 0: as many as there are cores", CVR_ATTR_BETWEEN(0, 256)),
    CVR_ATTR(STRING, "isa", "auto", "CPU features that kernels may use: auto, base, or a list such as `avx2 fma`"),
    CVR_ATTR(STRING, "passes", "auto",
             "graph passes that run: auto (all but those that must be named), none, or a list: auto, NAME(key=value)"),
    CVR_ATTR(
        CHOICE, "precision", "f32",
        "f32; bf16: activations and products in bf16, weights and sums in f32; bf16x3: f32 "
        "with products by three of bf16, where the machine is faster at that; f16: as bf16, with a scale of the loss "
        "(train.loss_scale), for devices; tf32: f32 whose products round their operands to 11 bits, where a GPU of "
        "NVIDIA's "
        "has that; auto: bf16 where its products measure "
        "1.2 times as fast as f32's, settled once for a run",
        .choices = PRECISION_NAMES),
    CVR_ATTR(BOOL, "check", "no",
             "run every node by itself and look for what its kernel does wrong: writes out of bounds or to inputs, "
             "results left out, the first NaN; slower by far, same bits"),
    CVR_ATTR(BOOL, "pin", "no",
             "tie each of the threads to a CPU of its own; for a machine that has nothing else to do"),
};
SCHEMA(backend);

static const cvr_attr_desc *const model_keys[] = {
    CVR_ATTR(STRING, "name", "", "model, `cvrun help models`; empty: the network is written in [net]"),
    CVR_ATTR(PATH, "weights", "",
             "file of weights to start from; or torchvision's name for weights of this model, such as IMAGENET1K_V1"),
    CVR_ATTR(PATH, "weights_path", "",
             "folder where weights that are named lie; else where torch and timm keep what they have downloaded"),
    CVR_ATTR(
        CHOICE, "head", "auto",
        "the last layers: loaded with the weights; auto: made new for training where their shape is another, as is "
        "all that stands on a backbone where the file has the backbone alone",
        .choices = "auto|keep|new"),
    CVR_ATTR(BOOL, "strict", "yes", "no: weights may lack parameters of the network, and have others"),
    CVR_ATTR(STRING, "freeze", "",
             "what is not trained: stages such as backbone or backbone.layer4, names such as layer1 or *.bias; a,b,c"),
    CVR_ATTR(STRING, "unfreeze", "",
             "what of it is trained later, from the start of an epoch on: 5:backbone.layer4, 8:all"),
    CVR_ATTR(BOOL, "freeze_bn", "yes", "batch norms of what is frozen keep their running statistics and use them"),
    CVR_ATTR(INT, "num_classes", "0", "0: as many as the data has", CVR_ATTR_BETWEEN(0, MOST_CLASSES)),
    CVR_ATTR(INT, "in_channels", "0", "0: as many as the pictures have", CVR_ATTR_BETWEEN(0, 4)),
};
SCHEMA(model);

static const cvr_attr_desc *const data_keys[] = {
    CVR_ATTR(STRING, "format", "", "what the data is: `cvrun help data`; only prediction does without"),
    CVR_ATTR(PATH, "root", "", "where the data is"),
    CVR_ATTR(PATH, "train", "", "training part, where it is not in root"),
    CVR_ATTR(PATH, "val", "", "validation part, where it is not in root"),
    CVR_ATTR(STRING, "names", "", "names of the classes, a,b,c; default: what the data says"),
    CVR_ATTR(
        INTS, "img_size", "0",
        "pixels of a side; of a task with boxes: a square whatever the picture's shape, or the shorter side and the "
        "most of the longer one, 800,1333; 0: as the pictures are",
        .count = 2, CVR_ATTR_BETWEEN(0, 65500)),
    CVR_ATTR(
        CHOICE, "fit", "auto",
        "how pictures with boxes come to that square: each side stretched by itself, or in their shape, at the upper "
        "left or in the middle of a grey square; aligned: in the middle, resized as Darknet does it; auto: as the "
        "model proposes, else stretched",
        .choices = "auto|stretch|letterbox|letterbox_center|letterbox_aligned"),
    CVR_ATTR(INT, "shapes", "0",
             "most sizes that pictures of a batch may be padded to, where the task pads; 0: 1, of a task with boxes 8, "
             "and 64 where pictures come one by one",
             CVR_ATTR_BETWEEN(0, 64)),
    CVR_ATTR(INT, "aspect_groups", "-1",
             "training pictures share a batch with those of a like aspect ratio, in k steps from 1 to 2; 0: with any; "
             "-1: 3 for tasks with boxes, unless img_size is a square",
             CVR_ATTR_BETWEEN(-1, 16)),
    CVR_ATTR(INT, "max_boxes", "0", "most objects of a picture; 0: as many as the data has", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(
        STRING, "mean", "0",
        "subtracted from pixels in 0..1, a channel each; or imagenet: 0.485,0.456,0.406, of grey pictures their mean"),
    CVR_ATTR(STRING, "std", "1",
             "what they are then divided by; or imagenet: 0.229,0.224,0.225, of grey pictures their mean"),
    CVR_ATTR(BOOL, "shuffle", "yes", "another order in every epoch"),
    CVR_ATTR(BOOL, "drop_last", "no", "leave out the last batch where it is smaller"),
    CVR_ATTR(INT, "limit", "0", "use only this many pictures; 0: all", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "workers", "2", "threads that make batches; 0: none but the main one", CVR_ATTR_BETWEEN(0, 64)),
    CVR_ATTR(CHOICE, "on_error", "fail", "what to do about a bad file", .choices = "fail|skip"),
    CVR_ATTR(CHOICE, "decode", "exact",
             "reduced: JPEGs that are scaled down by 2 or more are decoded at 1/2, 1/4 or 1/8; other pixels",
             .choices = "exact|reduced"),
    CVR_ATTR(INT, "max_pixels", "178956970",
             "a picture of more pixels is refused: decoded, it may be larger than memory",
             CVR_ATTR_BETWEEN(1, 4290250000)),
    CVR_ATTR(CHOICE, "cache", "no", "ram: pictures stay in memory as they were decoded, as far as there is room",
             .choices = "no|ram"),
    CVR_ATTR(STRING, "cache_size", "", "what they may take, 2G or 800M; default: half of the memory that is free"),
};
SCHEMA(data);

static const cvr_attr_desc *const train_keys[] = {
    CVR_ATTR(INT, "epochs", "10", "how often all training pictures are seen", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "batch", "32",
             "pictures of an optimizer step; auto: the largest power of two that fits into memory, at most 1024 and a "
             "tenth of the data",
             .choices = "auto", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(
        INT, "grad_accum", "1",
        "parts that a batch is computed in, one after the other, to save memory; train.class_weights weigh within each",
        CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(
        CHOICE, "on_nan", "fail",
        "what to do about a step whose loss is not finite: end the run, or leave its update out, up to two in a row",
        .choices = "fail|skip"),
    CVR_ATTR(STRING, "memory", "",
             "what the planned memory may come to, 2G or 800M: activations are then computed twice as needed"),
    CVR_ATTR(BOOL, "ema", "no", "keep running means of the weights, which validation and the saved weights take"),
    CVR_ATTR(
        FLOAT, "ema_decay", "0.99998",
        "share of the mean that an update keeps, before it is scaled by batch * ema_steps / epochs as torchvision's "
        "references do",
        CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(INT, "ema_steps", "32", "steps from one update of the means to the next", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(CHOICE, "sampler", "all",
             "pictures of an epoch: each once, or as many drawn with replacement, all classes equally often",
             .choices = "all|balanced"),
    CVR_ATTR(INT, "repeat", "1",
             "how often a picture stands in a row, augmented anew each time; an epoch stays as long, and sees fewer",
             CVR_ATTR_BETWEEN(1, 1000)),
    CVR_ATTR(STRING, "class_weights", "",
             "what a class weighs in the training loss: a number for each, a,b,c, or balanced: pictures / (classes * "
             "pictures of the class)"),
    CVR_ATTR(
        INT, "close_mosaic", "0",
        "the last epochs, which do without mosaic and mixup_boxes; networks that have one add their last loss then; "
        "0: none",
        CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "ema_ramp", "0",
             "with it the means keep ema_decay * (1 - e^(-n / ema_ramp)) at their n-th update, and nothing is scaled; "
             "YOLOX: 2000, with ema_decay = 0.9998, ema_steps = 1",
             CVR_ATTR_BETWEEN(0, 1e9)),
    CVR_ATTR(INTS, "multi_scale", "",
             "sides of training's pictures, least,most,step, such as 320,608,32: one is drawn for some batches in a "
             "row; the last train.close_mosaic epochs and validation have data.img_size; empty: all have it",
             .count = 3, CVR_ATTR_BETWEEN(1, 65500)),
    CVR_ATTR(INT, "multi_scale_every", "10", "batches from one draw of a side to the next", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(INT, "max_batches", "0",
             "where train.epochs is not given: as many epochs as give this many batches; 0: the default of epochs",
             CVR_ATTR_BETWEEN(0, 1e12)),
    CVR_ATTR(FLOAT, "loss_scale", "65536",
             "backend.precision=f16: what the loss is multiplied with at first, so that small gradients are not 0 in "
             "f16; halved when one overflows",
             CVR_ATTR_BETWEEN(6.103515625e-05, 1152921504606846976)),
    CVR_ATTR(INT, "loss_scale_growth", "2000", "steps without an overflow after which it is doubled",
             CVR_ATTR_AT_LEAST(1)),
};
SCHEMA(train);

static const cvr_attr_desc *const optim_keys[] = {
    CVR_ATTR(STRING, "name", "sgd", "optimizer: `cvrun help optim`"),
    CVR_ATTR(STRING, "lr", "", "learning rate; default: PyTorch's for this optimizer"),
    CVR_ATTR(STRING, "weight_decay", "", "default: PyTorch's for this optimizer"),
    CVR_ATTR(STRING, "norm_weight_decay", "", "for normalisation layers; default: weight_decay"),
    CVR_ATTR(STRING, "bias_weight_decay", "", "for biases; default: weight_decay"),
    CVR_ATTR(FLOAT, "backbone_lr_mult", "1", "what lr is multiplied with for the model's stages backbone.*",
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "head_lr_mult", "1", "the same for its stage head", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(
        FLOAT, "layer_decay", "1",
        "what lr is multiplied with from one layer of the model to the one before it; 0.75 is usual for fine-tuning",
        CVR_ATTR_BETWEEN(0.0001, 1)),
    CVR_ATTR(STRING, "param_lr_mult", "", "the same for stages and names: layer4.*:0.5, *.bias:2"),
    CVR_ATTR(STRING, "param_weight_decay", "", "weight decay for stages and names: *.pos_embedding:0"),
};
SCHEMA(optim);

static const cvr_attr_desc *const sched_keys[] = {
    CVR_ATTR(STRING, "name", "constant", "scheduler: `cvrun help sched`"),
    CVR_ATTR(FLOAT, "warmup_epochs", "0", "epochs in which lr rises from 0", CVR_ATTR_BETWEEN(0, 1e6)),
    CVR_ATTR(FLOAT, "lr_min", "0", "where a schedule that falls ends", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(CHOICE, "warmup", "linear",
             "how it rises: with the share of the warm-up that is done, its square (YOLOX), or its fourth power "
             "(Darknet)",
             .choices = "linear|quadratic|quartic"),
    CVR_ATTR(INT, "warmup_steps", "0",
             "the warm-up's length in optimizer steps, Darknet's burn_in; 0: as warmup_epochs says",
             CVR_ATTR_BETWEEN(0, 1e12)),
    CVR_ATTR(INT, "flat_epochs", "0",
             "the last epochs, in which lr stays where the schedule, which ends before them, has brought it",
             CVR_ATTR_AT_LEAST(0)),
};
SCHEMA(sched);

static const cvr_attr_desc *const val_keys[] = {
    CVR_ATTR(INT, "interval", "1", "epochs between validations; 0: never", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(STRING, "metric", "", "what the best weights are chosen by; default: the task's"),
    CVR_ATTR(INT, "resize_size", "-1", "shorter side before the crop; -1: img_size; 0: as they are",
             CVR_ATTR_BETWEEN(-1, 65535)),
    CVR_ATTR(INT, "crop_size", "-1", "centre crop; -1: img_size; 0: none", CVR_ATTR_BETWEEN(-1, 65535)),
    CVR_ATTR(CHOICE, "interpolation", "bilinear",
             "of the task's resize, in validation, and in training where no line of [augment] makes the size",
             .choices = INTERPOLATION_NAMES),
    CVR_ATTR(
        CHOICE, "protocol", "auto",
        "on what a task that says something of each pixel is measured: the centre crop, all of the resized picture, "
        "or the original size, to which its output is brought; auto: as resize_size and crop_size say, and in "
        "predict the original",
        .choices = PROTOCOL_NAMES),
    CVR_ATTR(INT, "stride", "0",
             "such a task looks at pictures in windows of crop_size, this many pixels apart; 0: at the whole picture",
             CVR_ATTR_BETWEEN(0, 65535)),
    CVR_ATTR(BOOL, "flip", "no", "such a task also looks at the mirrored picture, and the two are averaged"),
    CVR_ATTR(FLOATS, "scales", "1",
             "such a task looks at the picture at each of these sizes, 1 its own, and averages them",
             .count = MOST_SCALES, CVR_ATTR_BETWEEN(0.05, 16)),
    CVR_ATTR(BOOL, "save", "no",
             "write what the network says of every picture in a form that other programs measure: of detection COCO's "
             "results, of segmentation masks; in training that of the best weights"),
};
SCHEMA(val);

static const cvr_attr_desc *const probe_keys[] = {
    CVR_ATTR(BOOL, "enabled", "no",
             "train the head alone, on features that the rest of the network makes of each picture once"),
};
SCHEMA(probe);

static const cvr_attr_desc *const export_keys[] = {
    CVR_ATTR(STRING, "format", "onnx",
             "what is written: `cvrun help exporters`, or a format of weights alone, `cvrun help weights`"),
    CVR_ATTR(PATH, "out", "", "file that is written; default: beside the run's weights, or NAME.onnx of a recipe"),
    CVR_ATTR(INT, "batch", "free", "pictures of a batch; free: as many as the runtime is given", .choices = "free",
             CVR_ATTR_BETWEEN(1, 1000000)),
    CVR_ATTR(INTS, "size", "",
             "height,width of the pictures, or one number for both; default: as prediction makes them", .count = 2,
             CVR_ATTR_BETWEEN(1, 65500)),
    CVR_ATTR(
        CHOICE, "preprocess", "none",
        "what the file does to pictures: nothing, it takes them normalised, f32 (N,C,H,W); embed: it takes pixels, "
        "u8 (N,H,W,C), and normalises them",
        .choices = "none|embed"),
    CVR_ATTR(BOOL, "fold", "yes", "batch norms become part of the convolutions before them"),
    CVR_ATTR(BOOL, "decode", "yes",
             "of a detector the file gives boxes; no: what its heads say, before it is decoded and suppressed"),
};
SCHEMA(export);

static const cvr_attr_desc *const quant_keys[] = {
    CVR_ATTR(STRING, "method", "ptq", "how `cvrun quantize` does it: `cvrun help compressors`"),
    CVR_ATTR(INT, "pictures", "256",
             "training pictures that it looks at, evenly spread over the data and made as validation makes them",
             CVR_ATTR_BETWEEN(1, 1e7)),
    CVR_ATTR(INT, "batch", "32", "of them at a time", CVR_ATTR_BETWEEN(1, 65536)),
};
SCHEMA(quant);

static const cvr_attr_desc *const prune_keys[] = {
    CVR_ATTR(STRING, "method", "l1", "how `cvrun prune` chooses what goes: `cvrun help compressors`"),
    CVR_ATTR(INT, "pictures", "2048",
             "training pictures that it looks at, evenly spread over the data and made as validation makes them: for "
             "the statistics of batch norms, and for gradients",
             CVR_ATTR_BETWEEN(1, 1e7)),
    CVR_ATTR(INT, "batch", "32", "of them at a time", CVR_ATTR_BETWEEN(1, 65536)),
    CVR_ATTR(INT, "epochs", "0", "epochs that the network is trained further; with steps, after all of them together",
             CVR_ATTR_BETWEEN(0, 100000)),
    CVR_ATTR(INT, "steps", "1", "so many times a part of it goes, with an equal share of the epochs after each",
             CVR_ATTR_BETWEEN(1, 1000)),
    CVR_ATTR(FLOAT, "lr_factor", "0.1", "optim.lr of that training, times what the run had", CVR_ATTR_BETWEEN(0, 1000)),
    CVR_ATTR(BOOL, "remove", "no",
             "of methods that set weights to zero: without masks, so that training changes these weights again"),
    CVR_ATTR(STRING, "held", "", "weights that have masks; written by `cvrun prune`"),
};
SCHEMA(prune);

static const cvr_attr_desc *const compressed_keys[] = {
    CVR_ATTR(STRING, "by", "", "what made this network of another: ptq; written by `cvrun quantize`"),
    CVR_ATTR(PATH, "plan", "", "its file that says what differs"),
    CVR_ATTR(PATH, "origin", "", "the run that it was made of"),
};
SCHEMA(compressed);

static const cvr_attr_desc *const distill_keys[] = {
    CVR_ATTR(PATH, "teacher", "",
             "the run folder of a trained network that this one learns from, or a file of weights for distill.model; "
             "empty: none"),
    CVR_ATTR(STRING, "method", "hinton", "what it learns from it: `cvrun help distillers`"),
    CVR_ATTR(STRING, "layers", "",
             "which layers or blocks a method that looks into networks compares: layer2,layer3; with another name in "
             "the teacher: layer2:stage3"),
    CVR_ATTR(STRING, "model", "", "the model of a teacher that is a file of weights"),
    CVR_ATTR(STRING, "mean", "", "the teacher's data.mean; default: as its run folder says, or as data.mean"),
    CVR_ATTR(STRING, "std", "", "the teacher's data.std; default: as its run folder says, or as data.std"),
    CVR_ATTR(INT, "img_size", "0",
             "side of the pictures that the teacher sees; 0: as its run folder says, or as the student",
             CVR_ATTR_BETWEEN(0, 65500)),
    CVR_ATTR(
        CHOICE, "precision", "auto",
        "what the teacher computes with; auto: as backend.precision, or with integers where it was quantised; int8: it "
        "must be a run that `cvrun quantize` made",
        .choices = "auto|f32|bf16|int8"),
    CVR_ATTR(STRING, "sha256", "",
             "of the teacher's weights; written when training starts: a run goes on with no other teacher"),
};
SCHEMA(distill);

#define KEYS(name_)                                                                                                    \
    { name_##_keys, sizeof name_##_keys / sizeof *name_##_keys }

const cvr_recipe_section *cvr_session_section(size_t i) {
    static const cvr_recipe_section all[] = {
        {"run", "what the run is for, where it goes, when it ends", KEYS(run), false},
        {"backend", "what computes, and how", KEYS(backend), false},
        {"model", "the network and the weights that it starts from; keys of the model that is named join them",
         KEYS(model), false},
        {"net", "the network, where it is no model by name: `NAME = LAYER SETTINGS [from=A,B]`, a line a layer",
         .lines = true},
        {"layers", "settings over what the model says of a layer: `layer1.0.conv1 = out_channels=48`", .lines = true},
        {"widths",
         "channels that a pruned network has of its model's, a line a group, as `cvrun prune` writes it: the first "
         "parameter, axis and element of the group, how many stay, and which",
         .lines = true},
        {"data", "the pictures and how they are read; keys of the data set that is named join them", KEYS(data), false},
        {"augment",
         "what training does to its pictures: `TRANSFORM = SETTINGS`, a line a transform; `preset = NAME` is a list of "
         "them",
         .lines = true},
        {"train", "the training itself; keys of the task and of gradient plugins join them", KEYS(train), false},
        {"optim", "the optimizer; keys of the one that is named join them", KEYS(optim), false},
        {"sched", "how the learning rate changes; keys of the scheduler that is named join them", KEYS(sched), false},
        {"val", "validation", KEYS(val), false},
        {"probe", "a linear probe: only the head is trained, and pictures are looked at once", KEYS(probe), false},
        {"quant", "what `cvrun quantize` does; keys of the method join them", KEYS(quant), false},
        {"distill", "training under a teacher; keys of the method join them", KEYS(distill), false},
        {"prune", "what `cvrun prune` does; keys of the method join them", KEYS(prune), false},
        {"compressed", "how a network differs from its model, of a run that was made of another", KEYS(compressed),
         false},
        {"export", "what `cvrun export` writes; keys of the exporter join them", KEYS(export), false},
    };
    return i < sizeof all / sizeof *all ? &all[i] : NULL;
}
