// The name by which a program has been executed.
#include <stdio.h>
#include <sys/auxv.h>

int main(void)
{
    printf("executed %s\n", (char *)getauxval(AT_EXECFN));
    return 0;
}
