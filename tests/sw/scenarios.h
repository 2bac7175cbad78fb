/* Each scenario is a claim about driver and hardware together. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

void overflow(void);
void sleeper(void);
void once(void);
void moderation(void);
void migration(void);
void storm(void);
void drain(void);
void drop(void);
void wire(void);
void sources_of_all_kinds(void);
void forgery(void);
void failure(void);

#endif /* SCENARIOS_H */
