/* Rules for parameters (cvr_param_rules), as the store keeps and applies them: param_rules.c. */
#ifndef CVR_PARAM_RULES_H
#define CVR_PARAM_RULES_H

#include <cvr/program.h>

typedef struct param_rule {
    char *pattern;
    double value; /* of lists with numbers */
    bool used;    /* it has fitted something */
} param_rule;

typedef struct param_rule_list {
    param_rule *rules;
    size_t n, capacity;
} param_rule_list;

typedef struct param_rules {
    cvr_stage *stages; /* texts are copies */
    size_t n_stages;
    param_rule_list freeze, lr, decay;
    param_rule_list *thaw; /* what of the frozen is trained from phase 1, 2, ... on */
    size_t n_thaw, phase;
    bool train_frozen;
} param_rules;

int32_t param_rules_set(param_rules *r, const cvr_param_rules *from, cvr_error *err);
void param_rules_clear(param_rules *r);
/* Sets stage, lr_factor, weight_decay, thaws_in of an entry whose name is set; and FROZEN where it is TRAINED but shall
 * not be in the present phase. */
void param_rules_apply(param_rules *r, cvr_store_entry *e);
/* The stage that a name of a layer or parameter belongs to, or "". */
const char *param_rules_stage(const param_rules *r, const char *name);
/* The role in the present phase of an entry that `apply` has seen. */
uint32_t param_rules_role(const param_rules *r, const cvr_store_entry *e);
/* Whether all parameters are frozen whose names begin with `scope` and a dot, by the patterns alone. */
bool param_rules_freeze_scope(const param_rules *r, const char *scope);
/* The first pattern that has fitted nothing, or NULL. */
const char *param_rules_unused(const param_rules *r);

#endif
