/* The instance, with the validation layers where a recipe asks for them. See vulkan_device.h. */
#include "vulkan_device.h"
#include <stdlib.h>

#define LIBRARY "libvulkan.so.1"
#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data, void *of) {
    vulkan_instance *i = (vulkan_instance *)of;
    char text[sizeof i->first_message];
    (void)types, (void)severity;
    (void)snprintf(text, sizeof text, "vulkan validation: %.480s", data->pMessage ? data->pMessage : "");
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
    if (i->messages++ == 0) memcpy(i->first_message, text, sizeof text);
    i->host->log(i->host, CVR_LOG_ERROR, text);
    return VK_FALSE;
}

static int32_t has_layer(const vulkan_table *t) {
    VkLayerProperties layers[64];
    uint32_t n = sizeof layers / sizeof *layers;
    const VkResult r = t->EnumerateInstanceLayerProperties(&n, layers);
    if (r != VK_SUCCESS && r != VK_INCOMPLETE) return 0;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(layers[i].layerName, VALIDATION_LAYER) == 0) return 1;
    return 0;
}

/* The variable by which the loader was told to look for these drivers alone, for none where it is empty; or NULL. The
 * second is the older name. */
static const char *drivers_variable(void) {
    static const char *const names[] = {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (getenv(names[i])) return names[i];
    }
    return NULL;
}

int32_t vulkan_no_driver(cvr_error *err) {
    const char *variable = drivers_variable();
    char but[400] = "";
    if (variable)
        (void)snprintf(but, sizeof but, "; only those of %s=%.300s are looked for: unset it to look for all", variable,
                       getenv(variable));
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "vulkan: there is no device; install a driver (Debian: mesa-vulkan-drivers, or the GPU vendor's)%s",
                    but);
}

/* Out of memory is also what the loader says of a driver's file that is no JSON. */
static int32_t check_loader(VkResult r, const char *call, cvr_error *err) {
    if (r == VK_SUCCESS) return CVR_OK;
    return cvr_fail(err, vulkan_status(r),
                    "vulkan: %s gives %s (%d); with VK_LOADER_DEBUG=error in the environment the loader says which "
                    "driver is to blame",
                    call, vulkan_result_name(r), r);
}

static int32_t create(vulkan_instance *i, int64_t validation, cvr_error *err) {
    static const char *const layers[] = {VALIDATION_LAYER}, *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    static const VkValidationFeatureEnableEXT sync[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT},
                                              gpu[] = {
                                                  VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT,
                                                  VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT};
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                           .pApplicationName = "cvrun",
                                           .pEngineName = "cvrun",
                                           .apiVersion = VK_API_VERSION_1_3};
    const VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = i};
    const VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger,
        .enabledValidationFeatureCount = validation == VULKAN_VALIDATION_SYNC  ? 1
                                         : validation == VULKAN_VALIDATION_GPU ? 2
                                                                               : 0,
        .pEnabledValidationFeatures = validation == VULKAN_VALIDATION_GPU ? gpu : sync};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pNext = validation ? &features : NULL,
                                       .pApplicationInfo = &application,
                                       .enabledLayerCount = validation ? 1 : 0,
                                       .ppEnabledLayerNames = layers,
                                       .enabledExtensionCount = validation ? 1 : 0,
                                       .ppEnabledExtensionNames = extensions};
    if (validation && !has_layer(&i->table))
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "vulkan: backend.vulkan_validation needs the layer " VALIDATION_LAYER
                        " (Debian: vulkan-validationlayers)");
    const VkResult r = i->table.CreateInstance(&info, NULL, &i->handle);
    if (r == VK_ERROR_INCOMPATIBLE_DRIVER) return vulkan_no_driver(err);
    CVR_TRY(check_loader(r, "vkCreateInstance", err));
    CVR_TRY(vulkan_table_of_instance(&i->table, i->handle, err));
    if (!validation) return CVR_OK;
    const PFN_vkCreateDebugUtilsMessengerEXT listen =
        (PFN_vkCreateDebugUtilsMessengerEXT)i->table.GetInstanceProcAddr(i->handle, "vkCreateDebugUtilsMessengerEXT");
    if (!listen) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: the validation layers have no messages");
    return vulkan_check(listen(i->handle, &messenger, NULL, &i->messenger), "vkCreateDebugUtilsMessengerEXT", err);
}

int32_t vulkan_instance_open(vulkan_instance *i, const cvr_host *host, int64_t validation, cvr_error *err) {
    uint32_t version = 0;
    *i = (vulkan_instance){.host = host};
    CVR_TRY(vulkan_table_load(&i->table, LIBRARY, err));
    CVR_TRY(vulkan_check(i->table.EnumerateInstanceVersion(&version), "vkEnumerateInstanceVersion", err));
    if (version < VK_API_VERSION_1_3)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: " LIBRARY " is for Vulkan %u.%u; 1.3 is needed",
                        VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
    const int32_t status = create(i, validation, err);
    if (status != CVR_OK) vulkan_instance_close(i);
    return status;
}

void vulkan_instance_close(vulkan_instance *i) {
    if (!i->handle) return;
    if (i->messenger) {
        const PFN_vkDestroyDebugUtilsMessengerEXT stop =
            (PFN_vkDestroyDebugUtilsMessengerEXT)i->table.GetInstanceProcAddr(i->handle,
                                                                              "vkDestroyDebugUtilsMessengerEXT");
        if (stop) stop(i->handle, i->messenger, NULL);
    }
    if (i->table.DestroyInstance) i->table.DestroyInstance(i->handle, NULL);
    i->handle = NULL;
}

int32_t vulkan_instance_devices(const vulkan_instance *i, VkPhysicalDevice *out, uint32_t *n, cvr_error *err) {
    const VkResult r = i->table.EnumeratePhysicalDevices(i->handle, n, out);
    return r == VK_INCOMPLETE ? CVR_OK : check_loader(r, "vkEnumeratePhysicalDevices", err);
}

int32_t vulkan_instance_complaints(const vulkan_instance *i, cvr_error *err) {
    if (!i->messages) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s (%llu in all)", i->first_message, (unsigned long long)i->messages);
}
